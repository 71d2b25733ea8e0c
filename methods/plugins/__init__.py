"""The plug-ins: one module and one card each."""
