# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""XML: build, parse and a canonical form. The only importer of lxml outside the rooms named xml.py.

Documents come from libvirt, which in turn may have them from anybody: no entities, no DTD, no network.

On a machine before its first run lxml is not there yet; check mode has to predict the new documents all the same, so
building and reading them falls back to the standard library. Real runs ask ``require_lxml()`` first.
"""

from __future__ import annotations

import base64
import copy
import re
import traceback
import typing as t

from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import InvalidSpec, LibraryMissing

try:
    from lxml import etree

    LXML_TRACE: str | None = None
except ImportError:
    LXML_TRACE = traceback.format_exc()
    if not t.TYPE_CHECKING:
        import xml.etree.ElementTree as etree

if t.TYPE_CHECKING:
    Element = etree._Element


def require_lxml() -> None:
    """Raises LibraryMissing when lxml cannot be imported."""
    if LXML_TRACE is not None:
        raise LibraryMissing("lxml", "python3-lxml", LXML_TRACE)


def parse(text: str | bytes, what: str = "the document", *, is_metadata: bool = False) -> Element:
    """Text to an element tree without comments and without white space between elements.

    Only metadata are their owner's to the last comment: what is in them (or in the element, if it ``is_metadata``) keeps
    its comments, processing instructions and CDATA. ``what`` names the document in the InvalidSpec that malformed text
    raises.
    """
    # Text has been decoded already, whatever encoding it declares.
    encoding = "utf-8" if isinstance(text, str) else None
    data = text.encode() if isinstance(text, str) else text
    if LXML_TRACE is not None:
        return _parse_without_lxml(data, encoding, what)
    try:
        root = etree.fromstring(data, _parser(encoding))
    except etree.XMLSyntaxError as exc:
        raise InvalidSpec(f"{what} is no well-formed XML: {' '.join(exc.msg.split())}.") from exc
    declared = root.getroottree().docinfo.internalDTD
    if declared is not None and not (
        _is_bare(data) and declared.system_url is None and not list(declared.iterentities())
    ):
        raise _has_doctype(what)
    if _has_remarks(data):
        whole: Element = etree.fromstring(data, _parser(encoding, bare=False))
        return _remarked(whole) if is_metadata else _without_remarks(whole)
    return root


def _parser(encoding: str | None, *, bare: bool = True) -> etree.XMLParser:
    """``bare``: without all that is no element, attribute or text."""
    return etree.XMLParser(
        encoding=encoding,
        resolve_entities=False,
        no_network=True,
        load_dtd=False,
        huge_tree=False,
        remove_comments=bare,
        remove_pis=bare,
        strip_cdata=bare,
        remove_blank_text=True,
    )


#: The element that stands for a comment or an instruction, so that no other room has to know that there are such.
_REMARKS = "urn:hypervisor.kvm:remark:1"
_REMARK = re.compile(rf'<([\w.-]+):remark xmlns:\1="{_REMARKS}">([A-Za-z0-9+/=]*)</\1:remark>')
_IS_REMARK = re.compile(r"<!--(?:(?!--).)*-->|<\?(?:(?!\?>).)*\?>", re.DOTALL)


def _has_remarks(data: bytes) -> bool:
    """Whether there may be comments, CDATA, or instructions beside the declaration of XML."""
    return b"<!--" in data or b"<![CDATA[" in data or data.count(b"<?") > data.count(b"<?xml ")


def _without_remarks(whole: Element) -> Element:
    """A document of which nothing was left out with what it says, and all that is in its metadata.

    It has to be read so, for libvirt takes white space that comments and CDATA part from the rest of a text for none.
    """
    is_all = whole.tag == "metadata"
    for node in whole.findall("*" if is_all else "metadata/*"):
        _remarked(node)
    etree.strip_tags(whole, etree.Comment, etree.PI)
    for part in whole:
        for item in part.iter() if not is_all and part.tag != "metadata" else ():
            # Written again it is one text.
            item.text, item.tail = item.text, item.tail
    # Without what is beside it.
    return copy.deepcopy(whole)


def _remarked(root: Element) -> Element:
    for node in list(root.iter(etree.Comment, etree.PI)):
        remark = etree.Element(f"{{{_REMARKS}}}remark")
        remark.text = base64.b64encode(etree.tostring(node, encoding="utf-8", with_tail=False)).decode()
        node.addprevious(remark)
    # Unlike with remove(), what follows stays as it is, CDATA too.
    etree.strip_tags(root, etree.Comment, etree.PI)
    return root


def _remarks_back(text: str) -> str:
    """Text of XML with the comments and instructions in the places of the elements that stand for them."""
    return _REMARK.sub(_remark, text) if _REMARKS in text else text


def _remark(found: re.Match[str]) -> str:
    # Whoever writes such an element himself gets nothing else in by it.
    text = base64.b64decode(found[2]).decode(errors="replace")
    return text if _IS_REMARK.fullmatch(text) else found[0]


#: A document type declaration that says nothing but a name.
_BARE = re.compile(rb"<!DOCTYPE\s+[A-Za-z_][\w.:-]*\s*>")


def _is_bare(data: bytes) -> bool:
    return data.count(b"<!DOCTYPE") == 1 and _BARE.search(data) is not None


def _has_doctype(what: str) -> InvalidSpec:
    return InvalidSpec(f"{what} has a document type declaration that says more than a name; leave it out.")


def _parse_without_lxml(data: bytes, encoding: str | None, what: str) -> Element:
    if (b"<!DOCTYPE" in data and not _is_bare(data)) or b"\0" in data:
        # The standard library would expand what it declares. A zero byte: in UTF-16 the word would not be seen.
        raise _has_doctype(what)
    try:
        root = etree.fromstring(data, etree.XMLParser(encoding=encoding))
    except etree.ParseError as exc:
        raise InvalidSpec(f"{what} is no well-formed XML: {exc}.") from exc
    for node in root.iter():
        if len(node) and not (node.text or "").strip():
            node.text = None
        if not (node.tail or "").strip():
            node.tail = None
    return root


def element(tag: str, attributes: t.Mapping[str, t.Any] | None = None, text: t.Any = None) -> Element:
    """A new element; attributes and text that are None are left out, True and False are ``yes`` and ``no``."""
    node = etree.Element(tag)
    set_attributes(node, attributes or {})
    if text is not None:
        node.text = _value(text)
    return node


def child(parent: Element, tag: str, attributes: t.Mapping[str, t.Any] | None = None, text: t.Any = None) -> Element:
    """The same, appended to ``parent``."""
    node = etree.SubElement(parent, tag)
    if attributes:
        set_attributes(node, attributes)
    if text is not None:
        node.text = _value(text)
    return node


def drop_metadata(root: Element, tag: str) -> None:
    """Removes the elements with that tag from the metadata of a document; the metadata go with the last one."""
    metadata = root.find("metadata")
    if metadata is not None:
        for node in metadata.findall(tag):
            metadata.remove(node)
        if len(metadata) == 0:
            root.remove(metadata)


def set_attributes(node: Element, attributes: t.Mapping[str, t.Any]) -> None:
    """Sets the attributes that are not None."""
    for name, value in attributes.items():
        if value is not None:
            node.set(name, _value(value))


def _value(value: t.Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value)


def find_text(node: Element, path: str) -> str | None:
    """The stripped text at ``path``, None when the element is missing or empty."""
    found = node.find(path)
    if found is None or found.text is None:
        return None
    return found.text.strip() or None


def find_attribute(node: Element, path: str, name: str) -> str | None:
    """The attribute ``name`` of the element at ``path`` (``.`` = the node itself), None when missing."""
    found = node if path == "." else node.find(path)
    return None if found is None else found.get(name)


def without_namespace(node: Element) -> Element:
    """A copy of which only the root element is in no namespace."""
    parsed = parse(etree.tostring(node), is_metadata=True)
    root = etree.Element(str(node.tag).rpartition("}")[2], dict(parsed.attrib))
    root.text = parsed.text
    for item in list(parsed):
        root.append(item)
    return root


def to_text(node: Element) -> str:
    """The document as indented text, the way a person reads it in a diff."""
    shown = copy.deepcopy(node)
    # Beside text white space is text too.
    kept = [(mixed, [(item, item.text, item.tail) for item in mixed.iter()]) for mixed in _mixed(shown)]
    etree.indent(shown, space="  ")
    for mixed, content in kept:
        for item, before, behind in content:
            # What is written again is no CDATA section any more.
            if item.text != before:
                item.text = before
            if item is not mixed and item.tail != behind:
                item.tail = behind
    text = etree.tostring(shown, encoding="unicode")
    # The standard library writes <a />; a ">" inside of text or attributes is always escaped.
    return _remarks_back(text if LXML_TRACE is None else text.replace(" />", "/>")) + "\n"


def _mixed(root: Element) -> list[Element]:
    """The elements that have text beside other elements."""
    if LXML_TRACE is None:
        return t.cast("list[Element]", root.xpath("descendant-or-self::*[*][text()[normalize-space()]]"))
    texts = ((item, (item.text, *(one.tail for one in item))) for item in root.iter() if len(item))
    return [item for item, found in texts if any((text or "").strip() for text in found)]


def meaning(node: Element) -> tuple[object, ...]:
    """What an element says, whatever prefixes it has for its namespaces."""
    attributes = sorted((str(name), value) for name, value in node.attrib.items())
    content = [(meaning(item), _stripped(item.tail)) for item in node]
    return str(node.tag), tuple(attributes), _stripped(node.text), tuple(content)


def canonical(node: Element) -> bytes:
    """A form in which attribute order and insignificant white space do not count (C14N 2.0)."""
    if LXML_TRACE is not None:
        return etree.canonicalize(etree.tostring(node, encoding="unicode"), strip_text=True).encode()
    root = copy.deepcopy(node)
    for item in root.iter():
        item.text = _stripped(item.text)
        item.tail = _stripped(item.tail)
    try:
        # The same bytes as C14N 2.0 in a tenth of the time: that is written in Python.
        return etree.tostring(root, method="c14n", exclusive=True, with_comments=False)
    except etree.C14NError:
        # The older standard has no names of namespaces that are no absolute URIs.
        return etree.tostring(root, method="c14n2", strip_text=True)


def canonical_text(node: Element) -> str:
    """The same for a person."""
    return _remarks_back(canonical(node).decode())


def _stripped(text: str | None) -> str | None:
    return None if text is None else text.strip() or None
