"""`make soak`: runs an app under load for an hour, and checks that its resource use does not grow.

`__main__.py` sends records and causes rebalances; `app.py` is the app, which measures itself; `judge.py` compares the
samples.
"""
