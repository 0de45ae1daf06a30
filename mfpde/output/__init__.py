"""What is written and drawn: the result file, its records, pictures, ParaView."""
