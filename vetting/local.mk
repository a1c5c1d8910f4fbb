# vetting/
