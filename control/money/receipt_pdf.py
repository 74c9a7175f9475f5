"""A receipt as a PDF of one A4 page: the same facts as its page, in the same order. Pure; takes some 50 ms of CPU, so
callers run it in a thread.
"""

import font_roboto
from fpdf import FPDF, XPos, YPos

from control.language import t
from control.money.receipts import Paper
from control.money.words import spoken_money
from control.notices.letters import written_time

_INK, _MUTED, _LINE = (30, 42, 46), (86, 101, 106), (228, 225, 217)  # the tokens' ink, muted and line
_WIDTH = 170  # mm between the margins
_LABEL = 45


def receipt_pdf(paper: Paper) -> bytes:
    page = FPDF(format="A4")
    page.add_font("roboto", "", font_roboto.Roboto)
    page.add_font("roboto", "B", font_roboto.RobotoMedium)
    page.set_title(f"{paper.title} {paper.number}")
    page.set_author(paper.issuer_name)
    page.set_creation_date(paper.issued_at)
    page.set_margin(20)
    page.add_page()
    _head(page, paper)
    for label, value in paper_rows(paper):
        _row(page, label, value)
    page.ln(6)
    for label, amount, strong in paper_sums(paper):
        _sum(page, label, amount, strong=strong)
    if paper.is_demo:
        page.ln(6)
        _text(page, t("Test payment: no real money moved."), muted=True)
    return bytes(page.output())


def paper_rows(paper: Paper) -> tuple[tuple[str, str], ...]:
    """What stands on it besides the amounts, label and value; empty ones left out."""
    rows = (
        (t("Number"), paper.number),
        (t("Date"), written_time(paper.issued_at, paper.time_zone)),
        (t("For"), f"{paper.payer_name}, {paper.payer_email}"),
        (t("What"), paper.what),
        (t("When"), paper.when),
        (t("Paid by"), paper.method),
        (t("Transaction"), paper.transaction),
        (t("State"), paper.status),
    )
    return tuple((label, value) for label, value in rows if value)


def paper_sums(paper: Paper) -> tuple[tuple[str, str, bool], ...]:
    """The amounts from the price to the total: label, amount, whether it stands out."""

    def money(amount_minor: int) -> str:
        return spoken_money(amount_minor, paper.currency)

    rows = [(t("Amount"), money(paper.amount_minor), False)]
    rows += [
        (f"{one.words}, {written_time(one.at, paper.time_zone)}", money(-one.amount_minor), False)
        for one in paper.refunds
    ]
    rows.append((t("Total"), money(paper.total_minor), True))
    if paper.is_invoice:
        rate = f"{paper.vat_bp / 100:g} %"
        words = t("Contains %(rate)s VAT", rate=rate) if paper.vat_bp else t("Free of VAT")
        rows.append((words, money(paper.vat_minor), False))
    return tuple(rows)


def _head(page: FPDF, paper: Paper) -> None:
    page.set_font("roboto", "B", 20)
    page.set_text_color(*_INK)
    page.cell(_WIDTH, 10, paper.title, new_x=XPos.LMARGIN, new_y=YPos.NEXT)
    page.ln(2)
    _text(page, paper.issuer_name)
    for line in (paper.issuer_address, paper.issuer_contact):
        if line:
            _text(page, line, muted=True)
    if paper.issuer_tax_number:
        _text(page, t("Tax number %(issuer_tax_number)s", issuer_tax_number=paper.issuer_tax_number), muted=True)
    page.ln(8)


def _text(page: FPDF, words: str, *, muted: bool = False) -> None:
    page.set_font("roboto", "", 10)
    page.set_text_color(*(_MUTED if muted else _INK))
    page.multi_cell(_WIDTH, 5, words, new_x=XPos.LMARGIN, new_y=YPos.NEXT)


def _row(page: FPDF, label: str, value: str) -> None:
    page.set_font("roboto", "", 10)
    page.set_text_color(*_MUTED)
    page.cell(_LABEL, 7, label)
    page.set_text_color(*_INK)
    page.multi_cell(_WIDTH - _LABEL, 7, value, new_x=XPos.LMARGIN, new_y=YPos.NEXT)


def _sum(page: FPDF, label: str, amount: str, *, strong: bool) -> None:
    page.set_draw_color(*_LINE)
    page.line(20, page.get_y(), 20 + _WIDTH, page.get_y())
    page.set_font("roboto", "B" if strong else "", 12 if strong else 10)
    page.set_text_color(*_INK)
    page.cell(_WIDTH - _LABEL, 9, label)
    page.cell(_LABEL, 9, amount, align="R", new_x=XPos.LMARGIN, new_y=YPos.NEXT)
