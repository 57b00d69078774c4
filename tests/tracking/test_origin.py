import subprocess

from distprop import __version__
from distprop.tracking.origin import origin


def git(folder, *words):
    command = ["git", "-C", str(folder), "-c", "user.name=a", "-c", "user.email=a@b", *words]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def made(folder):
    """A package in a folder that is a repository."""
    package = folder / "distprop"
    package.mkdir()
    (package / "__init__.py").write_text("")
    git(folder, "init", "-q")
    return package


def test_a_clone_is_told_by_its_commit_and_whether_it_was_changed(tmp_path):
    package = made(tmp_path)
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-qm", "first")
    commit = git(tmp_path, "rev-parse", "HEAD")
    assert origin(package) == {"distprop.package_version": __version__, "distprop.git_commit": commit}
    (package / "__init__.py").write_text("changed = True")
    assert origin(package)["distprop.git_commit"] == f"{commit}-dirty"


def test_a_package_installed_inside_another_repository_is_not_told_by_that_ones_commit(tmp_path):
    package = made(tmp_path)
    (tmp_path / "users.py").write_text("")
    git(tmp_path, "add", "users.py")
    git(tmp_path, "commit", "-qm", "the user's own")
    assert origin(package) == {"distprop.package_version": __version__}


def test_without_git_the_version_is_told(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert origin() == {"distprop.package_version": __version__}
