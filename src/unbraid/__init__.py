"""Learn, measure and steer representations made of named parts."""
