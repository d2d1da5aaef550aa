"""The edge's side of an engine in another process, and the frames that both sides speak. The other
side is `duplex.app.engine_host`."""
