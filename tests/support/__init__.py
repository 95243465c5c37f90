"""Share worlds, jobs and fake parts among the tests of several packages."""
