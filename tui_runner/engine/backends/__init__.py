"""Where workers live: in processes of this machine, or in this very process."""
