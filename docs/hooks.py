"""Bring into the site files beside docs/: the README as its home page, more pages, and all files that a page links to.

Pages link to files and folders by where they are in the repository, so that links work there; here they are written
anew for where these are in the site. A folder that a page links to, and that has no README, gets a page with its files.
"""

import logging
import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from posixpath import relpath

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files, InclusionLevel
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[1]
LINK = re.compile(r"(?<=\]\()([\w./@-]+)")
REPORT = re.compile(r"`site/(report/[\w-]+\.html)`")
"""A page that `make docs` writes and only the site has."""


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that are not in docs/, and what all pages link to."""
    for page in [*sorted(ROOT.glob("*.md")), *sorted(ROOT.glob("results/**/README.md"))]:
        files.append(File.generated(config, place(page), abs_src_path=str(page)))
    for file in list(files.documentation_pages()):
        for target in targets(Path(str(file.abs_src_path))):
            add(target, files, config)
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Point the links at where things are in the site, and make links of the reports that it has."""
    markdown = REPORT.sub(r"[\1](\1)", markdown)
    if page.file.abs_src_path is None:  # made here: its links are those of the site
        return markdown
    folder = Path(page.file.abs_src_path).parent

    def moved(link: re.Match[str]) -> str:
        target = (folder / link[0]).resolve()
        return relpath(place(target), str(PurePosixPath(page.file.src_uri).parent)) if target.exists() else link[0]

    return LINK.sub(moved, markdown)


def on_page_content(html: str, page: Page, config: MkDocsConfig, files: Files) -> None:
    """Warn of a list that is shown as text: in the repository it needs no empty line before it, here it does."""
    # no number but 1: a line of a paragraph may begin with a year
    if re.search(r"^(- |1\. )", re.sub(r"<pre.*?</pre>", "", html, flags=re.DOTALL), re.MULTILINE):
        logging.getLogger("mkdocs.hooks").warning("%s: put an empty line before each list", page.file.src_uri)


def place(path: Path) -> str:
    """Return the place of a file of the repository, or of the page of a folder, among the sources of the site."""
    if path.is_dir():
        path /= "README.md" if (path / "README.md").exists() else "index.md"
    if path == ROOT / "README.md":
        return "index.md"
    return path.relative_to(ROOT / "docs" if path.is_relative_to(ROOT / "docs") else ROOT).as_posix()


def targets(page: Path) -> Iterator[Path]:
    """Yield the files and folders of the repository that a page links to."""
    for link in LINK.findall(page.read_text()):
        target = (page.parent / link).resolve()
        if target.exists() and target.is_relative_to(ROOT):
            yield target


def add(target: Path, files: Files, config: MkDocsConfig) -> None:
    """Add the file, or the folder with a page and all files that the page names, where the site has it not yet."""
    where = place(target)
    if where in files.src_uris:
        return
    if target.is_file():
        files.append(File.generated(config, where, abs_src_path=str(target)))
        return
    pages = sorted(target.glob("*/README.md"))
    inside = pages or sorted(path for path in target.rglob("*") if path.is_file())
    names = [path.relative_to(target).as_posix() for path in inside]
    lines = [f"- [{name.removesuffix('/README.md')}]({name})" for name in names]
    text = "\n".join([f"# {target.relative_to(ROOT).as_posix()}", "", *lines, ""])
    files.append(File.generated(config, where, content=text, inclusion=InclusionLevel.NOT_IN_NAV))
    for path in inside:
        add(path, files, config)
