# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""XML: documents may come from anybody."""

from __future__ import annotations

import base64
import http.server
import pathlib
import re
import threading
import typing as t
from xml.etree import ElementTree

import pytest
from ansible_collections.hypervisor.kvm.plugins.module_utils import _xml
from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import InvalidSpec
from hypothesis import given
from hypothesis import strategies as st

LAUGHS = (
    '<!DOCTYPE a [<!ENTITY a "ha">'
    + "".join(f'<!ENTITY {after} "{f"&{before};" * 10}">' for before, after in zip("abcdefgh", "bcdefghi"))
    + "]><a>&i;</a>"
)


@pytest.fixture(params=["lxml", "standard library"])
def either_library(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Both ways in which documents are read: with lxml, and before it is installed."""
    if request.param != "lxml":
        monkeypatch.setattr(_xml, "etree", ElementTree)
        monkeypatch.setattr(_xml, "LXML_TRACE", "not installed")
    return str(request.param)


@pytest.fixture
def server() -> t.Iterator[tuple[str, list[str]]]:
    """A server on loopback, and the paths that it was asked for."""
    asked: list[str] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b'<!ENTITY leaked "from the network">')

        def log_message(self, *_words: object) -> None:
            """Nothing to the test's output."""

    served = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=served.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{served.server_address[1]}", asked
    served.shutdown()
    thread.join()
    served.server_close()


@pytest.mark.usefixtures("either_library")
def test_a_file_of_the_host_is_not_read(tmp_path: pathlib.Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("tell-nobody")
    text = f'<!DOCTYPE a [<!ENTITY x SYSTEM "file://{secret}">]><a>&x;</a>'
    with pytest.raises(InvalidSpec, match="the network's document has a document type declaration") as error:
        _xml.parse(text, "the network's document")
    assert "tell-nobody" not in str(error.value)


@pytest.mark.usefixtures("either_library")
@pytest.mark.parametrize(
    "form",
    [
        '<!DOCTYPE a SYSTEM "{url}/a.dtd"><a/>',
        '<!DOCTYPE a [<!ENTITY x SYSTEM "{url}/x">]><a>&x;</a>',
        '<!DOCTYPE a [<!ENTITY % p SYSTEM "{url}/p"> %p;]><a>&leaked;</a>',
        '<a xmlns:xi="http://www.w3.org/2001/XInclude"><xi:include href="{url}/i"/></a>',
    ],
)
def test_nothing_is_fetched(server: tuple[str, list[str]], form: str) -> None:
    url, asked = server
    try:
        text = _xml.to_text(_xml.parse(form.format(url=url)))
    except InvalidSpec:
        text = ""
    assert asked == []
    assert "from the network" not in text


@pytest.mark.usefixtures("either_library")
@pytest.mark.parametrize("text", ["<!DOCTYPE a><a><b/></a>", "<?xml version='1.0'?>\n<!DOCTYPE\n a ><a><b/></a>"])
def test_a_document_type_without_more_than_a_name_is_harmless(text: str) -> None:
    assert _xml.to_text(_xml.parse(text)).strip() == "<a>\n  <b/>\n</a>"


@pytest.mark.usefixtures("either_library")
@pytest.mark.parametrize(
    "text",
    [
        "<!DOCTYPE a []><a/>",
        "<!DOCTYPE a [<!ATTLIST a b CDATA 'c'>]><a/>",
        "<!DOCTYPE a [<!ENTITY b 'c'>]><a>&b;</a>",
        "<!DOCTYPE a PUBLIC 'b' '/c'><a/>",
        "<!-- <!DOCTYPE a> --><!DOCTYPE a [<!ENTITY b 'c'>]><a>&b;</a>",
        "<!DOCTYPE a><a>&b;</a>",
    ],
)
def test_one_that_says_more_is_refused(text: str) -> None:
    with pytest.raises(InvalidSpec, match=r"document type declaration that says more|no well-formed"):
        _xml.parse(text)


@pytest.mark.usefixtures("either_library")
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_entities_do_not_grow(encoding: str) -> None:
    with pytest.raises(InvalidSpec, match=r"document type declaration|no well-formed"):
        _xml.parse(LAUGHS.encode(encoding))


@pytest.mark.usefixtures("either_library")
@pytest.mark.parametrize("encoding", ["UTF-8", "ISO-8859-1", "us-ascii", "UTF-16"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_text_is_decoded_already_whatever_it_declares(encoding: str, mark: str) -> None:
    text = f"{mark}<?xml version='1.0' encoding='{encoding}'?><a b='caf\u00e9'>\u65e5</a>"
    root = _xml.parse(text)
    assert (root.get("b"), root.text) == ("caf\u00e9", "\u65e5")


@pytest.mark.usefixtures("either_library")
@pytest.mark.parametrize("encoding", ["utf-8", "iso-8859-1"])
def test_bytes_are_what_they_declare(encoding: str) -> None:
    text = f"<?xml version='1.0' encoding='{encoding}'?><a>caf\u00e9</a>"
    assert _xml.parse(text.encode(encoding)).text == "caf\u00e9"


@pytest.mark.usefixtures("either_library")
@pytest.mark.parametrize("text", ["", "no xml", "<a>", "<a></b>", "<a/><b/>", "<a b=1/>", "&x;", "<a>\x00</a>"])
def test_malformed_text_is_refused_in_a_sentence(text: str) -> None:
    with pytest.raises(InvalidSpec, match=r"^the disk's document ") as error:
        _xml.parse(text, "the disk's document")
    assert error.value.message.endswith(".")
    assert "\n" not in error.value.message


@pytest.mark.usefixtures("either_library")
@given(st.text(st.characters(exclude_categories=["Cc", "Cs", "Cn"]), max_size=20))
def test_what_is_written_reads_back(text: str) -> None:
    node = _xml.element("a", {"x": text, "none": None, "yes": True, "no": False})
    _xml.child(node, "b", text=text)
    back = _xml.parse(_xml.to_text(node))
    assert _xml.find_attribute(back, ".", "x") == text
    assert (back.get("yes"), back.get("no"), back.get("none")) == ("yes", "no", None)
    assert _xml.find_text(back, "b") == (text.strip() or None)


@pytest.mark.usefixtures("either_library")
@given(
    st.recursive(st.sampled_from(["", "text", "<b/>"]), lambda inner: st.builds("<c>{}x{}</c>".format, inner, inner))
)
def test_text_beside_elements_gets_no_white_space(content: str) -> None:
    root = _xml.parse(f"<a><d><e/></d><m>/usr/bin/program{content}</m></a>")
    text = _xml.to_text(root)
    assert "".join(_xml.parse(text)[1].itertext()) == "".join(root[1].itertext())
    assert "  <d>\n    <e/>\n  </d>\n" in text


def test_canonical_form_ignores_order_of_attributes_and_white_space() -> None:
    first = _xml.parse('<a y="2" x="1"><b/><!-- said by nobody --></a>')
    second = _xml.parse('<a x="1" y="2">\n  <b></b>\n</a>')
    third = _xml.parse('<a x="1" y="3"><b/></a>')
    assert _xml.canonical(first) == _xml.canonical(second) != _xml.canonical(third)


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("\n  <![CDATA[ a <b> ]]>\n  ", " a <b> "),
        ("\n  <!-- c -->\n", None),
        (" <!-- c --> x <!-- d --> ", " x  "),
        ("a <!-- c --> <![CDATA[b]]> c", "a  b c"),
        ("\n<?do it?>y\n", "y\n"),
        (" <![CDATA[ ]]> ", " "),
        (" &#32; ", "   "),
    ],
)
def test_white_space_beside_remarks_is_none_as_libvirt_has_it(content: str, text: str | None) -> None:
    root = _xml.parse(
        f"<!-- one --><d><n>{content}</n><metadata><o:o xmlns:o='urn:o'>{content}</o:o></metadata></d><!-- two -->"
    )
    assert root.findtext("n") == (text or "")
    written = _xml.to_text(root)
    assert "CDATA" not in written.partition("<metadata>")[0]
    assert written.startswith("<d>")
    # The metadata are of who wrote them.
    assert all(remark in written for remark in re.findall(r"<!--.*?-->|<\?do it\?>|<!\[CDATA\[.*?\]\]>", content))


@pytest.mark.usefixtures("either_library")
def test_what_is_no_element_is_left_out() -> None:
    root = _xml.parse("<?xml version='1.0'?><!-- one --><a><?pi two?><b/><!-- three -->text<![CDATA[<&]]></a>")
    assert [node.tag for node in root] == ["b"]
    assert root[0].tail == "text<&"


_REMARKS = ("<!-- x -->", "<!---->", "<?do it?>", "<![CDATA[a < b]]>", "text", "<o:e/>")


@given(st.lists(st.sampled_from(_REMARKS), max_size=8), st.integers(0, 3))
def test_metadata_keep_all_that_is_in_them_and_nothing_else_does(parts: list[str], place: int) -> None:
    inside = f'<o:own xmlns:o="urn:o">{"".join(parts)}</o:own>'
    outside = ["<!-- of nobody -->" if place == index else "" for index in range(4)]
    text = "{}<d><n>a{}b</n><metadata>{}{}</metadata>{}</d>".format(outside[0], outside[1], inside, *outside[2:])
    root = _xml.parse(text)
    written = _xml.to_text(root)
    assert [part for part in parts if part[0] == "<" and part not in written] == []
    assert "of nobody" not in written
    assert _xml.find_text(root, "n") == "ab"
    again = _xml.parse(written)
    assert _xml.canonical(again) == _xml.canonical(root)
    assert _xml.to_text(again) == written
    assert _xml.to_text(_xml.parse(inside, is_metadata=True)).count("<!--") == sum("<!--" in part for part in parts)


@pytest.mark.parametrize("hidden", ["</x><y/>", "<!-- --><y/><!-- -->", "<?a?><y/><?a?>", "y"])
def test_nothing_comes_in_disguised_as_a_comment(hidden: str) -> None:
    packed = base64.b64encode(hidden.encode()).decode()
    remark = f'<m:remark xmlns:m="urn:hypervisor.kvm:remark:1">{packed}</m:remark>'
    written = _xml.to_text(_xml.parse(f'<d><metadata><o:own xmlns:o="urn:o">{remark}</o:own></metadata></d>'))
    assert packed in written
    assert "<y/>" not in written


def test_find() -> None:
    node = _xml.parse("<a p='1'><b> x </b><c/><d q='2'/></a>")
    assert [_xml.find_text(node, path) for path in ("b", "c", "z")] == ["x", None, None]
    assert _xml.find_attribute(node, ".", "p") == "1"
    assert _xml.find_attribute(node, "d", "q") == "2"
    assert _xml.find_attribute(node, "z", "q") is None
