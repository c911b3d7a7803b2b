"""The store over HTTP: ``client`` asks, ``serving`` answers. sync/README.md section 1 is the
protocol of the wire; docs/server.md is the operator's page."""
