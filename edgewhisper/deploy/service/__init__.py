"""Speech to text for other machines: a server of Home Assistant's Wyoming protocol."""
