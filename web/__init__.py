"""The pages people see: server-rendered templates, style sheets and small ES modules over control's JSON API."""
