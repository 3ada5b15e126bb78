"""What Superset needs to show the charts in assets/."""
