"""A video or sound file of any length -> ``Transcript``: speech is found and cut, decoded, timed, and put together."""
