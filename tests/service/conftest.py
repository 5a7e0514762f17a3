from tests.support.endpoint_calls import stack

__all__ = ["stack"]
