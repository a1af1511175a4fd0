"""The command `tts-sim`: each command parses, opens, makes one library call and prints."""
