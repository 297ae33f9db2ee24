"""The replicated state machine: applies the log, answers commands, defines the stored state."""
