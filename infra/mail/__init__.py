"""Mail goes out: templates, the folder of development, SMTP, and the sender that `work` runs.

place.py      what MAIL_URL and MAIL_FROM say
rendering.py  template and values -> one message, the same bytes each time
folder.py     one .eml a message
smtp.py       to a mail server, with STARTTLS
sending.py    put together for `work`
"""
