"""The network: its layers, weights and templates, and its export to other runtimes."""
