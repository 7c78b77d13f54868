"""Whatever reads what strangers send is given what nobody foresaw: it says what is wrong, or is right; never else."""
