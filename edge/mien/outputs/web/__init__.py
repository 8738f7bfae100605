"""A web page with the live picture and what is seen in it: `mien run --output web`, then http://127.0.0.1:8080/.

For programs there are the picture alone (/stream.mjpg), server-sent events (/events), /healthz, and /metrics for
Prometheus. `output.py` is the output and its paths, `streams.py` what never ends, `access.py` who may look.
"""

from mien.outputs.web.output import WebOutput

__all__ = ["WebOutput"]
