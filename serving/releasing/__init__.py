"""A version on its way, at work in one worker: as a shadow, a canary, or in its first minutes as champion."""
