"""Pages that reports are written as, read as a browser does, and what must hold for each of them."""

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from html.parser import HTMLParser
from xml.etree import ElementTree
from xml.etree.ElementTree import Element, SubElement

# What has no end tag in HTML.
VOID = {"meta", "br", "hr", "img", "input", "link"}
# What a page of ours may consist of: nothing that runs, loads, sends or is filled in.
KNOWN = {
    *("html", "head", "meta", "title", "style", "body", "header", "nav", "main", "section", "footer", "h1", "h2", "h3"),
    *("p", "a", "span", "div", "ul", "li", "dl", "dt", "dd", "table", "thead", "tbody", "tr", "th", "td"),
    *("figure", "figcaption", "details", "summary", "svg", "path", "circle", "rect", "text"),
}
_NUMBER = re.compile(r"-?[\d.]+")


class _Reader(HTMLParser):
    """Builds a tree, and takes no tag that is not closed in order."""

    def __init__(self) -> None:
        super().__init__()
        self.root = Element("page")
        self._open = [self.root]
        self._last: Element | None = None

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        names = [name for name, _ in attrs]
        assert len(set(names)) == len(names), f"<{tag}> has an attribute twice: {names}"
        element = SubElement(self._open[-1], tag, {name: value or "" for name, value in attrs})
        self._last = None
        if tag in VOID:
            self._last = element
        else:
            self._open.append(element)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        raise AssertionError(f"<{tag} /> means something else in HTML than in XML")

    def handle_endtag(self, tag: str) -> None:
        assert self._open[-1].tag == tag, f"</{tag}> closes <{self._open[-1].tag}>"
        self._last = self._open.pop()

    def handle_data(self, data: str) -> None:
        if self._last is not None:
            self._last.tail = (self._last.tail or "") + data
        else:
            self._open[-1].text = (self._open[-1].text or "") + data

    def close(self) -> None:
        super().close()
        assert self._open == [self.root], f"not closed: {[element.tag for element in self._open[1:]]}"


@dataclass
class Page:
    """One page. *tables* are those of sections, not the numbers of charts."""

    root: Element
    text: str
    tables: list[list[list[str]]] = field(default_factory=list)

    def find(self, tag: str) -> list[Element]:
        return list(self.root.iter(tag))

    @property
    def figures(self) -> dict[str, Element]:
        """By title."""
        return {read_text(figure.find("h3")): figure for figure in self.find("figure")}

    @property
    def words(self) -> Counter[str]:
        """Of everything that a reader sees."""
        body = next(self.root.iter("body"))
        return Counter(" ".join(body.itertext()).split())


def read_page(text: str) -> Page:
    """The page, of which is certain that it is well-formed, and that nothing in it loads, runs or leads away."""
    assert text.startswith("<!doctype html>\n")
    reader = _Reader()
    reader.feed(text)
    reader.close()
    page = Page(reader.root, text)
    assert {element.tag for element in page.root.iter()} - {"page"} <= KNOWN
    for element in page.root.iter():
        _check_attributes(element)
    style = read_text(page.find("style")[0])
    assert not re.search(r"url\(|@import|http|expression", style)
    ids = [element.get("id") for element in page.root.iter() if element.get("id")]
    assert len(set(ids)) == len(ids)
    for section in page.find("section"):
        for table in section.iter("table"):
            if not any(table in list(details.iter("table")) for details in section.iter("details")):
                page.tables.append(read_table(table))
    return page


def check_takes_over(page: Page, printed: str) -> None:
    """Every word and every number that a command has printed is on the page, as often at least."""
    words = Counter(word for word in printed.split() if any(character.isalnum() for character in word))
    assert words - page.words == Counter()


def _check_attributes(element: Element) -> None:
    for name, value in element.attrib.items():
        assert not name.startswith("on"), f"<{element.tag} {name}>"
        assert name not in ("src", "srcset", "action", "formaction", "data", "poster", "ping", "style", "xlink:href")
        if name == "href":
            assert element.tag == "a"
            assert re.fullmatch(r"#s\d+", value)
        elif name not in ("xmlns", "aria-label"):
            assert "//" not in value, f"<{element.tag} {name}={value!r}>"


def read_table(table: Element) -> list[list[str]]:
    """Its rows, the head first: the texts of the cells. Every row has as many cells as the head."""
    rows = [[" ".join(" ".join(cell.itertext()).split()) for cell in row] for row in table.iter("tr")]
    assert {len(row) for row in rows} == {len(rows[0])}
    assert all(cell.get("scope") == "col" for cell in next(iter(table.iter("tr"))))
    return rows


def read_numbers(figure: Element) -> list[list[str]]:
    """The table below a chart."""
    return read_table(next(figure.iter("table")))


def read_text(element: Element | None) -> str:
    assert element is not None
    return "".join(element.itertext()).strip()


def find_class(root: Element, look: str) -> list[Element]:
    """The elements of one class; an element may have several."""
    return [element for element in root.iter() if look in element.get("class", "").split()]


def find_lines(root: Element) -> list[Element]:
    """Those of series, without the samples beside names."""
    return [line for line in find_class(root, "line") if "key" not in line.get("class", "").split()]


def read_places(path: Element) -> list[tuple[float, float]]:
    """The places that a line goes through."""
    numbers = [float(number) for number in _NUMBER.findall(path.get("d", ""))]
    return list(zip(numbers[::2], numbers[1::2], strict=True))


def parse_svg(text: str) -> Element:
    """A picture's elements, by their plain names."""
    root = ElementTree.fromstring(text)
    for element in root.iter():
        element.tag = element.tag.rpartition("}")[2]
    return root


def list_told(root: Element) -> Iterator[str]:
    """What marks of a chart say when they are pointed at."""
    for element in root.iter():
        if element.tag in ("circle", "rect", "path"):
            for title in element.findall("title"):
                yield title.text or ""
