"""The command `faces2`: one subcommand a part, each imported only when it is called."""
