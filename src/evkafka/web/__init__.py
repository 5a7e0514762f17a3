"""The web part of an app. Needs the extra `evkafka[web]`, but for this module."""
