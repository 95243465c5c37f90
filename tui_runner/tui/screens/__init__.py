"""The screens: each lays widgets out and turns keys into commands."""
