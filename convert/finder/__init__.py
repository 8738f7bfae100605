"""Conversion of the face finder: maps instead of classes, judged by average precision; else as for classifiers."""
