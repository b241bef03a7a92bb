"""NATS: the connection that health shows, and publication of both logs to JetStream.

connection.py  one connection that never gives up
publisher.py   the follower that publishes a log
pipeline.py    many publishes under way, acks counted in order
streams.py     a stream, asked and changed over its API
logs.py        what publication asks of the log besides reading it
repair.py      makes a stream a suffix of its log again
"""
