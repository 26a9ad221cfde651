"""Other frameworks' runtimes, each in a process of its own: what runs what cannot be translated."""
