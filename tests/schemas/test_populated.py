def test_x(populated):
    from pipeline.status import status, errors

    for r in status():
        print(r)
    for e in errors():
        print(e)
    print(populated)
