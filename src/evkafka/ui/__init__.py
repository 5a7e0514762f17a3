"""The operations page, server side: what its screens show, and what can be done from them.

`models.py` says what is answered; `statistics.py` counts what happens; `snapshot.py` puts both into what is live;
`dead_letters.py`, `record_browser.py`, `configuration.py` and `self_check.py` answer the screens that ask the cluster; `auth.py` says
who may; `routes.py` is the list of paths.
"""
