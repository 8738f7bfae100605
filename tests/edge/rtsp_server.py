"""A small RTSP camera for tests: moving test pictures at /live; needs the system's python3 with GStreamer.

/usr/bin/python3 tests/edge/rtsp_server.py PORT [WIDTHxHEIGHT]
"""

import sys

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtspServer

FRAME_RATE = 25


def main(port: str, size: str = "320x240") -> None:
    """Serve until the process is ended; says "ready" when the port is open."""
    width, height = size.split("x")
    Gst.init(None)
    server = GstRtspServer.RTSPServer()
    server.set_address("127.0.0.1")
    server.set_service(port)
    factory = GstRtspServer.RTSPMediaFactory()
    form = f"video/x-raw,width={width},height={height},framerate={FRAME_RATE}/1"
    factory.set_launch(
        f"( videotestsrc is-live=true pattern=ball ! {form} "
        f"! x264enc tune=zerolatency speed-preset=ultrafast key-int-max={FRAME_RATE} ! rtph264pay name=pay0 pt=96 )"
    )
    factory.set_shared(True)
    server.get_mount_points().add_factory("/live", factory)
    if not server.attach(None):
        sys.exit(f"port {port} is taken")
    print("ready", flush=True)
    GLib.MainLoop().run()


if __name__ == "__main__":
    main(*sys.argv[1:])
