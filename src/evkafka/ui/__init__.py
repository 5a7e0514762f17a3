"""The operations page, server side.

`routes.py` lists the paths; `models.py` defines the answers. `statistics.py` counts events; `snapshot.py` combines them
with the app's status, and `stream.py` sends that to browsers. `dead_letters.py`, `record_browser.py`,
`configuration.py` and `self_check.py` answer the screens that ask the cluster. `auth.py` decides who may do what.
"""
