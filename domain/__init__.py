"""The rules, pure and synchronous: what may happen, and what follows from what happened.

Nothing here reads a clock, draws a random number or touches a file. Time, ids and
digests come in as arguments; decisions go out as events or as errors that carry data.
"""
