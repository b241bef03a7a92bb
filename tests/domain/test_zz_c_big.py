from hypothesis import settings
import tests.domain.test_credits_model as m
m.TestCredits.settings = settings(max_examples=1500, stateful_step_count=60, deadline=None)
TestBig = m.TestCredits
