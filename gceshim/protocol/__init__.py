"""The GCE wire: what a request is and how an answer looks. Knows no resource, no driver and no store."""
