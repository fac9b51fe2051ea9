"""The lab: the lecture's claims, a file for each, with the trainings and the drawing that they share."""
