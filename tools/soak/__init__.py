"""`make soak`: an app under load for an hour, and whether it is at the end what it was at the beginning.

`app.py` is what runs, and tells of itself; `__main__.py` breaks it now and then; `judge.py` says what is flat.
"""
