"""What every service needs besides its own work: settings, logging, a state file, and the contract in schemas/."""
