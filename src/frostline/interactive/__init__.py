"""What Python users hold: objects that show themselves, frames, pictures in memory."""
