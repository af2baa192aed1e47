"""What is started for each server that is compared with: as small as its own documentation makes it."""
