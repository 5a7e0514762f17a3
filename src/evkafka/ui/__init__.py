"""The operations page, server side: what its screens show, and what can be done from them.

`shapes.py` says what is answered; `book.py` counts what happens; `snapshot.py` puts both into what is live;
`letters.py`, `browser.py`, `effective.py` and `checks.py` answer the screens that ask the cluster; `guard.py` says
who may; `routes.py` is the list of paths.
"""
