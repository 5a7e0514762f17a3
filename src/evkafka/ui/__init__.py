"""The server of the dashboard.

`routes.py` lists the paths, `request_fields.py` reads requests, and `models.py` defines the answers. `statistics.py`
counts the runtime's events; `snapshot.py` combines them with the app's status, and `stream.py` sends that to browsers.
`dead_letters.py`, `record_browser.py`, `configuration.py` and `self_check.py` answer the other screens. `auth.py`
decides who may do what.
"""
