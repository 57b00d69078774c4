"""Who does what when: the step as pure state machines."""
