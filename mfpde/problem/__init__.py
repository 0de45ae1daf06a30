"""What is asked: target, activation, laws, schedules, stages; and the configuration that says so."""
