"""What memory brings: users with it against users without it, counted in constant memory."""
