"""Why methods fail across domains: repeatable diagnoses of any method, backbone and domain."""
