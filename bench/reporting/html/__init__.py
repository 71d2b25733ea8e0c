"""The report as one self-contained page: no network, no libraries, light and dark."""
