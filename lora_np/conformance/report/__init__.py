"""What a run looks like to people and to programs.  Floor 6.  Nothing here runs or judges anything.

terminal    the table, and the failures one by one
results     JSON, and JUnit's XML
page        one page of HTML that needs nothing else; `page_style` is its look, `histogram` draws its charts
badge       a small picture for a README
files       writing them, whole or not at all
"""
