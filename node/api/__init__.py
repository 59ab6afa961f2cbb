"""The API framework: endpoints as data, served by Falcon on gunicorn."""
